internal import Bytes

/// Tells whether a text that comes in pieces is UTF-8 (RFC 3629), as soon as the bytes allow: no overlong forms, no
/// surrogates, nothing above U+10FFFF.
package struct UTF8Validator: Sendable {
    /// Bytes that the character still lacks; 255 once something was wrong.
    private var lacking: UInt8 = 0
    /// What the next of them may be. Narrower than 80...bf behind a few first bytes only.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xbf

    private static let failed: UInt8 = 255

    package init() {}

    /// Whether all of `text` is UTF-8.
    package static func accepts(_ text: Span<UInt8>) -> Bool {
        var validator = UTF8Validator()
        return validator.validate(text) && validator.isAtBoundary
    }

    /// Whether the text so far is whole characters; false, too, of one that is wrong.
    package var isAtBoundary: Bool { lacking == 0 }

    /// Looks at the next piece. Once it has said false, it says nothing else.
    package mutating func validate(_ bytes: Span<UInt8>) -> Bool {
        var position = 0
        let count = bytes.count
        while true {
            if lacking == 0 {
                position = Self.skip(bytes, from: position)
                if position < 0 { lacking = Self.failed }
            }
            if lacking == Self.failed { return false }
            // The last few bytes, and what is left of a character that was begun before: byte by byte.
            guard position < count else { return true }
            take(bytes[position])
            position &+= 1
        }
    }

    private mutating func take(_ byte: UInt8) {
        if lacking > 0 {
            guard byte >= lowest, byte <= highest else { return lacking = Self.failed }
            lacking &-= 1
            lowest = 0x80
            highest = 0xbf
            return
        }
        switch byte {
        case 0...0x7f: break
        case 0xc2...0xdf: lacking = 1
        case 0xe0...0xef:
            lacking = 2
            if byte == 0xe0 { lowest = 0xa0 }
            if byte == 0xed { highest = 0x9f }
        case 0xf0...0xf4:
            lacking = 3
            if byte == 0xf0 { lowest = 0x90 }
            if byte == 0xf4 { highest = 0x8f }
        default: lacking = Self.failed
        }
    }

    /// Passes over whole characters from `start` on, and returns where it stopped: at a character's first byte, fewer
    /// than eight bytes before the end. -1 when there is one that is wrong.
    private static func skip(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var position = skipBlocks(bytes, from: start)
        let count = bytes.count
        var wasASCII = false
        while position &+ 8 <= count {
            let word = bytes.loadWord(at: position)
            let high = word & 0x8080_8080_8080_8080
            if high == 0 {
                // The second such word in a row may be the beginning of more.
                position = wasASCII ? skipBlocks(bytes, from: position &+ 8) : position &+ 8
                wasASCII = true
                continue
            }
            wasASCII = false
            let ascii = high.trailingZeroBitCount &>> 3
            if ascii == 0 {
                // The first byte lowest, so masks and values are to be read backwards. A few characters in a row, as
                // in text of one language; whatever this does not take is looked at below.
                if word & 0xc0e0_c0e0_c0e0_c0e0 == 0x80c0_80c0_80c0_80c0 {
                    // Each lane is above 0: c0 and c1 would be overlong.
                    let lanes = (word & 0x001e_001e_001e_001e) &+ 0x7fff_7fff_7fff_7fff
                    guard lanes & 0x8000_8000_8000_8000 == 0x8000_8000_8000_8000 else { return -1 }
                    position &+= 8
                    continue
                }
                if word & 0xc0_c0f0_c0c0_f0 == 0x80_80e0_8080_e0 {
                    let (one, other) = (word & 0x200f, word &>> 24 & 0x200f)
                    guard one != 0, one != 0x200d, other != 0, other != 0x200d else { return -1 }
                    position &+= 6
                    continue
                }
            }
            if ascii > 4 {
                // The character may go beyond the word.
                position &+= ascii
                continue
            }
            let character = UInt32(truncatingIfNeeded: word &>> UInt64(ascii &* 8))
            position &+= ascii
            if character & 0xc0e0 == 0x80c0 {
                // c0 and c1 would be overlong.
                guard character & 0x1e != 0 else { return -1 }
                position &+= 2
            } else if character & 0xc0_c0f0 == 0x80_80e0 {
                // e0 80...9f would be overlong, ed a0...bf are surrogates.
                let telling = character & 0x200f
                guard telling != 0, telling != 0x200d else { return -1 }
                position &+= 3
            } else if character & 0xc0c0_c0f8 == 0x8080_80f0 {
                // f0 80...8f would be overlong; f4 90 and what follows is above U+10FFFF.
                let telling = character & 0x3007
                guard telling != 0, character & 7 < 4 || telling == 4 else { return -1 }
                position &+= 4
            } else {
                return -1
            }
        }
        return position
    }

    /// Passes over ASCII, 64 bytes at a time.
    @inline(__always)
    private static func skipBlocks(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var position = start
        while position &+ 64 <= bytes.count {
            guard bytes.isASCIIBlock(at: position) else { break }
            position &+= 64
        }
        return position
    }
}
