internal import Glibc

extension CompilationEnvironment {
    /// Found out with the first configuration, and kept: what `user` has the process become later may still listen where root may,
    /// and its reloads read the same as the start did.
    private static let isPrivileged = geteuid() == 0

    /// What this machine says: its name, whether root runs the process, and host names by its resolver, which
    /// may block. Only loading a configuration asks it.
    package static func ofThisMachine(
        prefix: String, builtinVariables: Set<String>
    ) -> CompilationEnvironment {
        var environment = CompilationEnvironment(
            prefix: prefix, builtinVariables: builtinVariables, hostname: hostname(),
            isPrivileged: isPrivileged, addressesOfHost: resolve)
        if isPrivileged {
            // Holds because: the name is passed as text ended by NUL, and of what is found only that it is there is used.
            environment.hasUser = { name in unsafe getpwnam(name) != nil }
            environment.hasGroup = { name in unsafe getgrnam(name) != nil }
        }
        return environment
    }

    /// In lower case, as nginx's `$hostname`.
    private static func hostname() -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: 256)
        // Holds because: the buffer and its size come from one array; its last byte stays NUL.
        guard unsafe gethostname(&buffer, buffer.count - 1) == 0 else { return [] }
        return buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }.lowercased()
    }

    private static let resolve: @Sendable (String) -> [String] = { name in
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        // Holds because: the list is read before `freeaddrinfo`, and each entry is as long as it says.
        guard unsafe getaddrinfo(name, nil, &hints, &first) == 0 else { return [] }
        defer { unsafe freeaddrinfo(first) }
        var addresses: [String] = []
        var entry = unsafe first
        while let found = unsafe entry {
            var text = [CChar](repeating: 0, count: 64)
            let failure = unsafe getnameinfo(
                found.pointee.ai_addr, found.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0,
                NI_NUMERICHOST)
            let address = String(
                decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if failure == 0, !addresses.contains(address) { addresses.append(address) }
            unsafe entry = found.pointee.ai_next
        }
        return addresses
    }
}
