/// A set of ASCII characters in two words; no byte above 127 is in it.
struct ByteSet: Sendable {
    /// Bit n: the byte n.
    let low: UInt64
    /// Bit n: the byte 64 + n.
    let high: UInt64

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word = byte < 64 ? low : high
        return byte < 128 && word &>> UInt64(byte & 63) & 1 != 0
    }

    /// RFC 9110 §5.6.2: letters, digits and !#$%&'*+-.^_`|~
    static let token = ByteSet(low: 0x03ff_6cfa_0000_0000, high: 0x57ff_ffff_c7ff_fffe)
    /// Letters, digits and the hyphen.
    static let plainName = ByteSet(low: 0x03ff_2000_0000_0000, high: 0x07ff_fffe_07ff_fffe)
    /// Small letters, digits and the hyphen.
    static let smallName = ByteSet(low: 0x03ff_2000_0000_0000, high: 0x07ff_fffe_0000_0000)
    /// As nginx has it: capital letters, underscore and hyphen.
    static let method = ByteSet(low: 0x0000_2000_0000_0000, high: 0x0000_0000_87ff_fffe)
    /// RFC 3986 §3.2.2, `reg-name` without escapes: unreserved characters and sub-delims.
    static let hostName = ByteSet(low: 0x2bff_7fd2_0000_0000, high: 0x47ff_fffe_87ff_fffe)
    /// Inside the brackets of an address: hexadecimal digits, colon and dot.
    static let addressLiteral = ByteSet(low: 0x07ff_4000_0000_0000, high: 0x0000_007e_0000_007e)
}
