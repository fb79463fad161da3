internal import COpenSSL
internal import Glibc
internal import Synchronization

/// Sessions of TLS 1.2 (and of 1.3 without tickets) that clients may come back to, shared by all workers and kept
/// across reloads: nginx's `shared:name:size`.
package final class TLSSessionCache: SharedZone {
    private let sessions: Mutex<BoundedCache<[UInt8]>>

    /// - Parameter size: bytes.
    package init(size: Int) { sessions = Mutex(BoundedCache(limit: size)) }

    package func resize(to size: Int) { sessions.withLock { $0.resize(to: size) } }

    package var count: Int { sessions.withLock { $0.count } }

    func put(_ session: [UInt8], id: [UInt8], until expiry: Int) {
        sessions.withLock { $0.put(session, ofSize: session.count, at: id, until: expiry) }
    }

    func session(id: [UInt8], now: Int) -> [UInt8]? { sessions.withLock { $0.value(at: id, now: now) } }

    func remove(id: [UInt8]) { sessions.withLock { $0.remove(id) } }
}

/// What OpenSSL asks of a cache outside it.
enum ExternalCache {
    static let added: @convention(c) (OpaquePointer?, OpaquePointer?) -> Int32 = { ssl, session in
        guard let ssl = unsafe ssl, let session = unsafe session, let owner = unsafe TLSSession.of(ssl) else {
            return 0
        }
        guard owner.isServer else { return unsafe owner.keep(unsafe session) }
        // OpenSSL tells of sessions that went into a ticket as well; there is nothing to be kept of them.
        let usesTickets = unsafe SSL_get_options(ssl) & sy_op_no_ticket == 0
        if unsafe SSL_version(ssl) >= TLS1_3_VERSION, usesTickets { return 0 }
        guard let cache = owner.initialContext.sessionCache else { return 0 }
        let id = unsafe identifier(of: session)
        guard !id.isEmpty, let bytes = unsafe encoded(session) else { return 0 }
        let expiry = unsafe SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session)
        cache.put(bytes, id: id, until: expiry)
        return 0  // no reference was kept
    }

    static let wanted:
        @convention(c) (
            OpaquePointer?, UnsafePointer<UInt8>?, Int32, UnsafeMutablePointer<Int32>?
        ) -> OpaquePointer? = { ssl, id, length, copies in
            unsafe copies?.pointee = 0
            guard let ssl = unsafe ssl, let id = unsafe id, let owner = unsafe TLSSession.of(ssl),
                let cache = owner.initialContext.sessionCache
            else { return nil }
            // The identifier is as long as it is said to be.
            let key = unsafe Array(UnsafeBufferPointer(start: id, count: Int(length)))
            guard let bytes = cache.session(id: key, now: time(nil)) else { return nil }
            // The bytes are alive during the call, which moves `start`, not what it points to.
            return unsafe bytes.withUnsafeBufferPointer { bytes in
                var start = bytes.baseAddress
                return unsafe d2i_SSL_SESSION(nil, &start, bytes.count)
            }
        }

    static let removed: @convention(c) (OpaquePointer?, OpaquePointer?) -> Void = { context, session in
        guard let context = unsafe context, let session = unsafe session,
            let owner = unsafe TLSContext.of(context)
        else { return }
        owner.sessionCache?.remove(id: unsafe identifier(of: session))
    }

    private static func identifier(of session: OpaquePointer) -> [UInt8] {
        var length: UInt32 = 0
        // The identifier stands in the session for as long as that lives.
        guard let id = unsafe SSL_SESSION_get_id(session, &length) else { return [] }
        return unsafe Array(UnsafeBufferPointer(start: id, count: Int(length)))
    }

    private static func encoded(_ session: OpaquePointer) -> [UInt8]? {
        let length = unsafe i2d_SSL_SESSION(session, nil)
        guard length > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(length))
        // There is room for the length that was asked for just now.
        let written = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            var start = buffer.baseAddress
            return unsafe i2d_SSL_SESSION(session, &start)
        }
        return written == length ? bytes : nil
    }
}
