/// Memory that the sessions of one thread share: where pieces become one record, and records one system call.
///
/// Nothing stays in it from one call of a session to the next.
package final class TLSScratch {
    /// RFC 8446 §5.1: the most that one record holds.
    static let recordSize = 16 * 1024
    /// Ciphertext that is gathered before it is sent.
    static let outputSize = 128 * 1024

    /// Pieces of up to a record's size, one behind the other.
    var pieces: [UInt8] = []
    /// Records that are to go out together.
    var output: [UInt8] = []

    package init() {}
}
