internal import COpenSSL

/// What a client keeps of its last session with one server, to begin the next one with.
///
/// Confined to a worker's thread.
@safe package final class TLSResumption {
    /// Owned.
    private var session: OpaquePointer?

    package init() {}

    deinit { forget() }

    package var isEmpty: Bool { unsafe session == nil }

    package func forget() {
        if let session = unsafe session { unsafe SSL_SESSION_free(session) }
        unsafe session = nil
    }

    /// Takes over a reference that its caller owns.
    func keep(owned next: OpaquePointer) {
        forget()
        unsafe session = next
    }

    /// Has `ssl` ask for the session that was kept.
    func offer(to ssl: OpaquePointer) {
        // The connection counts a reference of its own.
        if let session = unsafe session { _ = unsafe SSL_set_session(ssl, session) }
    }
}
