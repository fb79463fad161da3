/// Looks host names up among wildcards, of `server_name` and of maps with `hostnames`.
enum HostWildcards {
    /// The entry of the longest wildcard such as `*.example.com`, which is kept under `.example.com`.
    static func find<Value>(_ host: [UInt8], leading table: [[UInt8]: Value]) -> Value? {
        guard !table.isEmpty else { return nil }
        // The star stands for at least one character.
        for start in host.indices.dropFirst() where host[start] == ByteText.dot {
            if let value = table[Array(host[start...])] { return value }
        }
        return nil
    }

    /// The entry of the longest wildcard such as `www.example.*`, which is kept under `www.example.`.
    static func find<Value>(_ host: [UInt8], trailing table: [[UInt8]: Value]) -> Value? {
        guard !table.isEmpty else { return nil }
        for end in host.indices.dropLast().reversed() where host[end] == ByteText.dot {
            if let value = table[Array(host[...end])] { return value }
        }
        return nil
    }
}
