internal import COpenSSL
internal import Glibc
internal import Synchronization

/// The keys that session tickets are encrypted with: those of files, or ones of the process's own that change.
package final class TLSTicketKeys: Sendable {
    struct Key: Sendable {
        var name: [UInt8]
        /// Of 16 or 32 bytes, as the cipher key is.
        var macKey: [UInt8]
        var cipherKey: [UInt8]
        var madeAt: Int
    }

    /// Seconds for which tickets are encrypted with one of the process's own keys.
    static let period = 3600
    /// Seconds for which tickets under such a key are still taken.
    static let lifetime = 24 * 3600

    let isOwn: Bool
    /// The first encrypts.
    private let keys: Mutex<[Key]>

    /// Random keys, a new one each hour; each opens tickets for a day.
    package init() {
        isOwn = true
        keys = Mutex([])
    }

    /// Of files of 48 or 80 bytes; `nil` when one of them is of another size. The first key encrypts.
    package init?(files: [[UInt8]]) {
        var keys: [Key] = []
        for file in files {
            switch file.count {
            case 48:
                keys.append(
                    Key(
                        name: Array(file[..<16]), macKey: Array(file[32...]), cipherKey: Array(file[16..<32]),
                        madeAt: 0))
            case 80:
                keys.append(
                    Key(
                        name: Array(file[..<16]), macKey: Array(file[16..<48]), cipherKey: Array(file[48...]),
                        madeAt: 0))
            default: return nil
            }
        }
        guard !keys.isEmpty else { return nil }
        isOwn = false
        self.keys = Mutex(keys)
    }

    /// The key that encrypts at `now`, in seconds since 1970; `nil` where there is none, and no randomness for a new one.
    func current(now: Int) -> Key? {
        keys.withLock { keys in
            guard isOwn else { return keys.first }
            if let first = keys.first, now - first.madeAt < Self.period { return first }
            guard let key = Self.random(at: now) else { return keys.first }
            keys.removeAll { now - $0.madeAt >= Self.lifetime }
            keys.insert(key, at: 0)
            return key
        }
    }

    /// The key of that name, if it still opens tickets at `now`, and whether it is the one that encrypts.
    func key(named name: [UInt8], now: Int) -> (key: Key, isCurrent: Bool)? {
        keys.withLock { keys in
            guard let index = keys.firstIndex(where: { $0.name == name }) else { return nil }
            if isOwn, now - keys[index].madeAt >= Self.lifetime { return nil }
            return (keys[index], index == 0 && (!isOwn || now - keys[index].madeAt < Self.period))
        }
    }

    private static func random(at now: Int) -> Key? {
        var bytes = [UInt8](repeating: 0, count: 80)
        // The array is as long as it is said to be.
        guard unsafe RAND_bytes(&bytes, Int32(bytes.count)) == 1 else { return nil }
        return Key(
            name: Array(bytes[..<16]), macKey: Array(bytes[16..<48]), cipherKey: Array(bytes[48...]),
            madeAt: now)
    }
}

/// OpenSSL's question for a key: 0 for none, 2 for one whose tickets are to be replaced, 1 otherwise, -1 for a fault.
func chooseTicketKey(
    _ ssl: OpaquePointer?, _ name: UnsafeMutablePointer<UInt8>?, _ vector: UnsafeMutablePointer<UInt8>?,
    _ cipher: OpaquePointer?, _ mac: OpaquePointer?, _ encrypts: Int32
) -> Int32 {
    guard let ssl = unsafe ssl, let name = unsafe name, let vector = unsafe vector,
        let keys = unsafe TLSSession.of(ssl)?.initialContext.ticketKeys
    else { return 0 }
    // OpenSSL gives room for 16 bytes of name and EVP_MAX_IV_LENGTH of vector.
    if encrypts == 1 {
        guard let key = keys.current(now: time(nil)), unsafe RAND_bytes(vector, 16) == 1 else { return -1 }
        for index in 0..<16 { unsafe name[index] = key.name[index] }
        guard unsafe EVP_EncryptInit_ex(cipher, ticketCipher(key), nil, key.cipherKey, vector) == 1,
            unsafe setKey(of: mac, key)
        else { return -1 }
        return 1
    }
    let wanted = unsafe Array(UnsafeBufferPointer(start: name, count: 16))
    guard let (key, isCurrent) = keys.key(named: wanted, now: time(nil)) else { return 0 }
    guard unsafe setKey(of: mac, key),
        unsafe EVP_DecryptInit_ex(cipher, ticketCipher(key), nil, key.cipherKey, vector) == 1
    else { return -1 }
    // RFC 8446 §4.6.1: a ticket of TLS 1.3 is meant for one use, so each resumption gives a new one.
    let version = unsafe SSL_version(ssl)
    return isCurrent && version < TLS1_3_VERSION ? 1 : 2
}

@unsafe private func ticketCipher(_ key: TLSTicketKeys.Key) -> OpaquePointer? {
    unsafe key.cipherKey.count == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc()
}

@unsafe private func setKey(of mac: OpaquePointer?, _ key: TLSTicketKeys.Key) -> Bool {
    var secret = key.macKey
    // The key is copied by the call.
    return unsafe secret.withUnsafeMutableBufferPointer {
        unsafe sy_set_ticket_key(mac, $0.baseAddress, $0.count) == 1
    }
}
