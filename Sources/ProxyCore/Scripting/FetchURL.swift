package import Config
internal import Wire

/// The URL of a `FetchRequest`, taken apart.
package struct FetchURL: Sendable, Equatable {
    private let url: ProxyURL
    /// The request target: path and query, `/` where the URL has none.
    package let target: [UInt8]

    /// - Throws: `invalidRequest`, with what is wrong. Nothing in a URL is escaped or left out here, so that what is
    ///   sent is what the script wrote; but a fragment is no part of a request (RFC 9110 §7.1).
    package init(_ text: [UInt8]) throws(FetchFailure) {
        do throws(ProxyURL.Fault) {
            url = try ProxyURL(text)
        } catch {
            throw .invalidRequest(error.message(for: text))
        }
        let host = url.hostField
        guard Authority.isValid(host.span, 0..<host.count) else {
            throw .invalidRequest(ProxyURL.Fault.address.message(for: text))
        }
        let uri = url.uri.prefix { $0 != UInt8(ascii: "#") }
        guard !uri.contains(where: { $0 <= 0x20 || $0 == 0x7f }) else {
            throw .invalidRequest("invalid character in URL \"\(String(decoding: text, as: UTF8.self))\"")
        }
        target = uri.isEmpty ? [ByteText.slash] : Array(uri)
    }

    /// `https://`
    package var isTLS: Bool { url.isTLS }

    /// Without brackets or a port; `localhost` for a UNIX socket.
    package var host: [UInt8] {
        if url.host.isEmpty { return Array("localhost".utf8) }
        return url.host.first == UInt8(ascii: "[") ? Array(url.host.dropFirst().dropLast()) : url.host
    }

    /// The value of `Host`: the port is left out where it is the scheme's own.
    package var hostField: [UInt8] { url.hostField }

    /// Where the request goes; a group among `groups` is known by its name without a port.
    package func destination(among groups: [UpstreamGroup]) -> ProxyTarget {
        ProxyTarget.destination(of: url, among: groups)
    }
}
