internal import Glibc

/// Where a socket is bound or connects to.
public enum SocketAddress: Sendable, Hashable {
    /// Four bytes in network order.
    case ipv4(UInt32, port: UInt16)
    /// Sixteen bytes in network order.
    case ipv6([UInt8], port: UInt16)
    /// An empty path is a peer that has no name.
    case unix(path: String)

    /// From numeric text, IPv6 without brackets; `nil` when it is neither.
    package init?(numericHost host: String, port: UInt16) {
        // For C the text would end there.
        guard !host.utf8.contains(0) else { return nil }
        var v4 = in_addr()
        var v6 = in6_addr()
        // inet_pton writes an address of the family's size into the variable that it is given.
        if unsafe inet_pton(AF_INET, host, &v4) == 1 {
            self = .ipv4(UInt32(bigEndian: v4.s_addr), port: port)
        } else if unsafe inet_pton(AF_INET6, host, &v6) == 1 {
            self = unsafe .ipv6(withUnsafeBytes(of: &v6) { unsafe Array($0) }, port: port)
        } else {
            return nil
        }
    }

    package var port: UInt16 {
        switch self {
        case .ipv4(_, let port), .ipv6(_, let port): port
        case .unix: 0
        }
    }

    /// Numeric text without port or brackets; `unix:` and the path for a UNIX socket.
    package var host: String { String(decoding: hostText, as: UTF8.self) }

    /// `host` as bytes.
    package var hostText: [UInt8] {
        switch self {
        case .ipv4(let address, _):
            var text: [UInt8] = []
            text.reserveCapacity(15)
            for shift in stride(from: UInt32(24), through: 0, by: -8) {
                let part = UInt8(truncatingIfNeeded: address &>> shift)
                if part >= 100 { text.append(UInt8(ascii: "0") + part / 100) }
                if part >= 10 { text.append(UInt8(ascii: "0") + part / 10 % 10) }
                text.append(UInt8(ascii: "0") + part % 10)
                if shift > 0 { text.append(UInt8(ascii: ".")) }
            }
            return text
        case .ipv6(var bytes, _):
            var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
            // 16 bytes are read and at most INET6_ADDRSTRLEN written, which the arrays hold.
            _ = unsafe inet_ntop(AF_INET6, &bytes, &text, socklen_t(INET6_ADDRSTRLEN))
            return text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        case .unix(let path):
            return Array("unix:\(path)".utf8)
        }
    }

    /// As nginx writes it: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
    package var description: String {
        switch self {
        case .ipv4(_, let port): "\(host):\(port)"
        case .ipv6(_, let port): "[\(host)]:\(port)"
        case .unix: host
        }
    }

    /// The address in network order, 4 or 16 bytes; empty for a UNIX socket.
    package var binary: [UInt8] {
        switch self {
        case .ipv4(let address, _):
            [
                UInt8(truncatingIfNeeded: address &>> 24), UInt8(truncatingIfNeeded: address &>> 16),
                UInt8(truncatingIfNeeded: address &>> 8), UInt8(truncatingIfNeeded: address),
            ]
        case .ipv6(let bytes, _): bytes
        case .unix: []
        }
    }

    package var isUnix: Bool { if case .unix = self { true } else { false } }

    /// The same host at another port.
    package func with(port: UInt16) -> SocketAddress {
        switch self {
        case .ipv4(let address, _): .ipv4(address, port: port)
        case .ipv6(let address, _): .ipv6(address, port: port)
        case .unix: self
        }
    }

    /// The host that connects to it itself.
    package var isLoopback: Bool {
        switch self {
        case .ipv4(let address, _): address >> 24 == 127
        case .ipv6(let bytes, _): bytes == [UInt8](repeating: 0, count: 15) + [1]
        case .unix: true
        }
    }

    package var isWildcard: Bool { self == wildcard }

    /// The address that stands for all of this one's family at its port.
    package var wildcard: SocketAddress? {
        switch self {
        case .ipv4(_, let port): .ipv4(0, port: port)
        case .ipv6(_, let port): .ipv6([UInt8](repeating: 0, count: 16), port: port)
        case .unix: nil
        }
    }

    var family: Int32 {
        switch self {
        case .ipv4: AF_INET
        case .ipv6: AF_INET6
        case .unix: AF_UNIX
        }
    }

    /// Calls `body` with the address as the kernel takes it.
    ///
    /// - Throws: ENAMETOOLONG, as of `call`, for a UNIX socket's path that does not fit.
    func withSockaddr<Result>(
        for call: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) throws(SystemError) -> Result {
        var storage = sockaddr_storage()
        let length: Int
        switch self {
        case .ipv4(let address, let port):
            var value = sockaddr_in()
            value.sin_family = sa_family_t(AF_INET)
            value.sin_port = port.bigEndian
            value.sin_addr.s_addr = address.bigEndian
            length = MemoryLayout<sockaddr_in>.size
            // Each form of an address is smaller than `sockaddr_storage`, whose purpose that is.
            unsafe withUnsafeMutableBytes(of: &storage) {
                unsafe $0.storeBytes(of: value, as: sockaddr_in.self)
            }
        case .ipv6(let bytes, let port):
            var value = sockaddr_in6()
            value.sin6_family = sa_family_t(AF_INET6)
            value.sin6_port = port.bigEndian
            unsafe withUnsafeMutableBytes(of: &value.sin6_addr) {
                unsafe $0.copyBytes(from: bytes.prefix(16))
            }
            length = MemoryLayout<sockaddr_in6>.size
            unsafe withUnsafeMutableBytes(of: &storage) {
                unsafe $0.storeBytes(of: value, as: sockaddr_in6.self)
            }
        case .unix(let path):
            let pathOffset = 2  // after sa_family_t
            let bytes = Array(path.utf8)
            guard bytes.count < MemoryLayout<sockaddr_un>.size - pathOffset else {
                throw SystemError(call, code: ENAMETOOLONG)
            }
            storage.ss_family = sa_family_t(AF_UNIX)
            length = pathOffset + bytes.count + 1
            unsafe withUnsafeMutableBytes(of: &storage) { storage in
                unsafe UnsafeMutableRawBufferPointer(rebasing: storage[pathOffset...]).copyBytes(from: bytes)
            }
        }
        return unsafe withUnsafePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(length))
            }
        }
    }

    /// From what the kernel filled in.
    init(_ storage: sockaddr_storage) {
        self = unsafe withUnsafeBytes(of: storage) { bytes in
            // Only as many bytes are read as each family's structure has, all inside `sockaddr_storage`.
            switch Int32(storage.ss_family) {
            case AF_INET:
                let value = unsafe bytes.load(as: sockaddr_in.self)
                return .ipv4(
                    UInt32(bigEndian: value.sin_addr.s_addr), port: UInt16(bigEndian: value.sin_port))
            case AF_INET6:
                return unsafe .ipv6(
                    Array(bytes[8..<24]), port: UInt16(bigEndian: bytes.load(as: sockaddr_in6.self).sin6_port)
                )
            default:
                return unsafe .unix(path: String(decoding: bytes[2..<110].prefix { $0 != 0 }, as: UTF8.self))
            }
        }
    }
}
