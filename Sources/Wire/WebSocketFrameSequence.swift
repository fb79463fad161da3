/// Follows which frames may come after which (RFC 6455 §5.4): the frames of a message in a row, control
/// frames between them.
package struct WebSocketFrameSequence: Sendable {
    /// A message was begun and its last frame has not come.
    package private(set) var isWithinMessage = false

    package init() {}

    package mutating func accept(_ header: WebSocketFrameHeader) -> WebSocketFrameViolation? {
        switch header.opcode {
        case .close, .ping, .pong:
            return nil
        case .continuation:
            guard isWithinMessage else { return .continuationWithoutStart }
            // RFC 7692 §6.1: the bit stands on the first frame only.
            guard header.reserved == 0 else { return .reservedBit }
        case .text, .binary:
            guard !isWithinMessage else { return .messageWithinMessage }
        }
        isWithinMessage = !header.isFinal
        return nil
    }
}
