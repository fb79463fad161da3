internal import Config
internal import Wire

/// The `Location` of redirects that the proxy makes itself.
package enum RedirectURL {
    /// Whether `absolute` completes the URL: one that begins with a slash, unless `absolute_redirect` is off.
    static func completes(_ url: [UInt8]?, _ settings: Settings) -> Bool {
        url?.first == ByteText.slash && settings.values.absoluteRedirect
    }

    /// The URL, completed by scheme, host and port where it is to be.
    ///
    /// Control characters, which a decoded path may bring in, are escaped: they would begin a field of their own.
    package static func absolute(_ url: [UInt8], _ exchange: Exchange) -> [UInt8] {
        let settings = exchange.location.settings
        guard completes(url, settings) else { return URIEscape.controls(url) }
        let isTLS = exchange.client.tls != nil
        var out = Array(isTLS ? "https://".utf8 : "http://".utf8)
        if settings.values.serverNameInRedirect {
            out.append(contentsOf: exchange.server.name)
        } else if exchange.hostIsGiven {
            out.append(contentsOf: exchange.host)
        } else {
            appendServerAddress(exchange, to: &out)
        }
        let port = exchange.client.serverPort
        if settings.values.portInRedirect, port != (isTLS ? 443 : 80), port != 0 {
            out.append(ByteText.colon)
            ASCII.appendDecimal(Int(port), to: &out)
        }
        out.append(contentsOf: url)
        return URIEscape.controls(out)
    }

    private static func appendServerAddress(_ exchange: Exchange, to out: inout [UInt8]) {
        let address = exchange.client.serverAddress
        let isIPv6 = address.contains(ByteText.colon) && exchange.client.serverPort != 0
        if isIPv6 { out.append(UInt8(ascii: "[")) }
        out.append(contentsOf: address)
        if isIPv6 { out.append(UInt8(ascii: "]")) }
    }
}
