package import Config
internal import Wire

extension ProxyTarget {
    /// What is wrong with a target that a script routes to, which is the name of an upstream of the configuration or
    /// `http://host:port`; `nil` when `resolve(route:for:uri:)` can take it.
    package static func fault(ofRoute target: [UInt8], in configuration: Configuration) -> String? {
        let text = String(decoding: target.prefix(128), as: UTF8.self)
        guard target.firstRange(of: "://".utf8) != nil else {
            guard position(ofUpstream: target, in: configuration) == nil else { return nil }
            let hint = target.contains(UInt8(ascii: ":")) ? "; a URL begins with http:// or https://" : ""
            return "there is no upstream \"\(text)\"\(hint)"
        }
        guard target.count <= 1024 else { return "the URL \"\(text)…\" is too long" }
        do throws(ProxyURL.Fault) {
            let url = try ProxyURL(target)
            guard !url.host.contains(UInt8(ascii: " ")) else { throw .address }
            return url.uri.isEmpty ? nil : "found a path in \"\(text)\", expected http://host:port"
        } catch {
            return error.message(for: target)
        }
    }

    /// The `upstream` block of this name, in whatever case: no two differ in that alone.
    package static func position(ofUpstream name: [UInt8], in configuration: Configuration) -> Int? {
        configuration.upstreams.firstIndex {
            !$0.isImplicit && ASCII.equalIgnoringCase($0.name, name)
        }
    }
}
