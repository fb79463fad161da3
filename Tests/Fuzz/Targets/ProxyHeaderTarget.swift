import ProxyCore

/// A header of the PROXY protocol is whole with its last byte, not before, and means the same whatever follows.
enum ProxyHeaderTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        guard !input.isEmpty else { return }
        switch ProxyProtocolHeader.read(input.span) {
        case .partial:
            check(input.count < ProxyProtocolHeader.maxLength, "\(input.count) bytes are not enough")
        case .whole(let length, let header):
            check((1...min(input.count, ProxyProtocolHeader.maxLength)).contains(length), "\(length) bytes")
            var choices = Choices(input)
            for count in [1, length - 1, 1 + choices.below(length - 1)] {
                guard case .partial = ProxyProtocolHeader.read(input.span.extracting(..<count)) else {
                    check(false, "\(count) bytes of \(length) are not a part")
                    continue
                }
            }
            guard case .whole(length, let again) = ProxyProtocolHeader.read(input.span.extracting(..<length))
            else {
                check(false, "what follows decides")
                return
            }
            check(
                again?.client == header?.client && again?.server == header?.server, "what follows is read")
            if let header { checkEnds(header) }
        case .broken(let fault):
            check(!fault.isEmpty, "no word of the fault")
            guard case .broken = ProxyProtocolHeader.read((input + [0x0A]).span) else {
                check(false, "mended by what follows")
                return
            }
        }
    }

    private static func checkEnds(_ header: ProxyProtocolHeader) {
        for address in [header.client.address, header.server.address] {
            check(
                !address.isEmpty && address.allSatisfy { $0 == 46 || (48...58).contains($0) || isLetter($0) },
                "an address of other characters")
        }
    }

    /// Of hexadecimal digits.
    private static func isLetter(_ byte: UInt8) -> Bool { (97...102).contains(byte | 0x20) }
}
