/// Finds a user's password in a file of lines `name:password` or `name:password:comment`, as htpasswd writes them.
///
/// It takes the file piece by piece, and keeps nothing of it but the password. As in nginx, lines that begin with `#` or a
/// carriage return are passed over, and the first line of the user's is the one that counts.
package struct UserFileReader {
    private enum State {
        /// Within a name that is the user's so far; how much of it.
        case name(matched: Int)
        case otherLine
        case password
        case found
    }

    /// With the colon behind it.
    private let user: [UInt8]
    private var state = State.name(matched: 0)
    private var password: [UInt8] = []

    package init(user: [UInt8]) { self.user = user + [ByteText.colon] }

    /// The user's line was found, and is whole.
    package var isDone: Bool { if case .found = state { true } else { false } }

    /// Takes the next piece of the file.
    package mutating func read(_ bytes: Span<UInt8>) {
        for index in 0..<bytes.count {
            let byte = bytes[index]
            switch state {
            case .name(let matched): readName(byte, matched: matched)
            case .otherLine: if byte == ByteText.lineFeed { state = .name(matched: 0) }
            case .password:
                switch byte {
                case ByteText.lineFeed, ByteText.carriageReturn, ByteText.colon: state = .found
                default: password.append(byte)
                }
            case .found: return
            }
        }
    }

    /// The file has ended.
    ///
    /// - Returns: what the user's line has for a password, or `nil` where there is no such line.
    package func finish() -> StoredPassword? {
        switch state {
        case .name, .otherLine: nil
        case .password, .found: StoredPassword(password)
        }
    }

    private mutating func readName(_ byte: UInt8, matched: Int) {
        if matched == 0 {
            if byte == ByteText.lineFeed { return }
            if byte == ByteText.hash || byte == ByteText.carriageReturn {
                state = .otherLine
                return
            }
        }
        guard byte == user[matched] else {
            // nginx takes the end of a line that is the beginning of the user's name for part of that, and misses the next.
            state = byte == ByteText.lineFeed ? .name(matched: 0) : .otherLine
            return
        }
        state = matched + 1 == user.count ? .password : .name(matched: matched + 1)
    }
}
