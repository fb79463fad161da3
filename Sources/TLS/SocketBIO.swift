internal import COpenSSL

/// What stands between OpenSSL and the socket.
enum SocketBIO {
    enum Answer {
        case bytes(Int)
        case wouldBlock, end, failed
    }

    /// Made once for the process, and never changed afterwards.
    nonisolated(unsafe) static let method: OpaquePointer? = {
        let method = unsafe BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "switchyard socket")
        unsafe BIO_meth_set_write(method) { bio, bytes, count in
            guard let bio = unsafe bio, let bytes = unsafe bytes, let session = unsafe session(of: bio) else {
                return -1
            }
            unsafe BIO_clear_flags(
                bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY)
            let answer = unsafe session.put(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
            if case .bytes(let count) = answer { return Int32(count) }
            return -1
        }
        unsafe BIO_meth_set_read(method) { bio, buffer, size in
            guard let bio = unsafe bio, let buffer = unsafe buffer, let session = unsafe session(of: bio)
            else {
                return -1
            }
            unsafe BIO_clear_flags(
                bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY)
            switch unsafe session.receive(buffer, Int(size)) {
            case .bytes(let count): return Int32(count)
            case .wouldBlock:
                unsafe BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
                return -1
            case .end: return 0
            case .failed: return -1
            }
        }
        unsafe BIO_meth_set_ctrl(method) { bio, command, _, _ in
            switch command {
            case BIO_CTRL_FLUSH: return 1
            case BIO_CTRL_EOF:
                guard let bio = unsafe bio, let session = unsafe session(of: bio) else { return 1 }
                return session.isAtEnd ? 1 : 0
            default: return 0
            }
        }
        return unsafe method
    }()

    static func session(of bio: OpaquePointer) -> TLSSession? {
        guard let data = unsafe BIO_get_data(bio) else { return nil }
        // Set by the session, which frees the connection, and with it the BIO, before it goes.
        return unsafe Unmanaged<TLSSession>.fromOpaque(data).takeUnretainedValue()
    }
}
