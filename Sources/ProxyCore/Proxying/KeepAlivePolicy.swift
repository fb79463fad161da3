package import Config
internal import Wire

/// Whether the client's connection stays open after a response.
package enum KeepAlivePolicy {
    /// By the request, the location's `keepalive_*` and what is known of the client, in nginx's order. The
    /// framing of the response may still demand that it closes.
    package static func mayPersist(_ exchange: Exchange, _ settings: Settings) -> Bool {
        guard exchange.request.wantsKeepAlive, settings.values.keepaliveTimeout > 0,
            exchange.client.requests < settings.values.keepaliveRequests
        else { return false }
        let age = exchange.clock.now.monotonic - exchange.client.connectedAt.monotonic
        if age > settings.values.keepaliveTime { return false }
        return settings.values.keepaliveDisable.isEmpty
            || !isDisabled(exchange, settings.values.keepaliveDisable)
    }

    private static func isDisabled(_ exchange: Exchange, _ disabled: KeepaliveDisable) -> Bool {
        let isPost = Method.post.equals(exchange.method)
        // The usual case costs no look at the field: old Internet Explorer matters after a POST only.
        if disabled == .msie6, !isPost { return false }
        guard let index = exchange.request.firstIndex(of: .userAgent) else { return false }
        let bytes = exchange.request.bytes
        let value = exchange.request.fields[index].value
        if disabled.contains(.msie6), isPost, isOldExplorer(bytes, value) { return true }
        return disabled.contains(.safari) && isSafari(bytes, value)
    }

    /// Internet Explorer up to 6 without its second service pack.
    private static func isOldExplorer(_ bytes: [UInt8], _ value: Range<Int>) -> Bool {
        guard ByteText.position(of: opera, in: bytes, value) == nil,
            let start = ByteText.position(of: msie, in: bytes, value)
        else { return false }
        let version = start + msie.count
        guard version + 1 < value.upperBound, bytes[version + 1] == ByteText.dot else { return false }
        switch bytes[version] {
        case UInt8(ascii: "4"), UInt8(ascii: "5"): return true
        case UInt8(ascii: "6"):
            return ByteText.position(of: secondServicePack, in: bytes, version..<value.upperBound) == nil
        default: return false
        }
    }

    private static func isSafari(_ bytes: [UInt8], _ value: Range<Int>) -> Bool {
        ByteText.position(of: safari, in: bytes, value) != nil
            && ByteText.position(of: chrome, in: bytes, value) == nil
            && ByteText.position(of: macOS, in: bytes, value) != nil
            && ByteText.position(of: opera, in: bytes, value) == nil
    }

    private static let opera = Array("Opera".utf8)
    private static let msie = Array("MSIE ".utf8)
    private static let secondServicePack = Array("SV1".utf8)
    private static let safari = Array("Safari/".utf8)
    private static let chrome = Array("Chrome/".utf8)
    private static let macOS = Array("Mac OS X".utf8)
}
