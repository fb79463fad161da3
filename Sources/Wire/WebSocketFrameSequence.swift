/// Follows which frames may come after which (RFC 6455 §5.4): the frames of a message in a row, control
/// frames between them.
package struct WebSocketFrameSequence: Sendable {
    /// A message was begun and its last frame has not come.
    package private(set) var isWithinMessage = false

    package init() {}

    package mutating func accept(_ header: WebSocketFrameHeader) -> WebSocketFrameViolation? {
        if let violation = header.orderViolation(isWithinMessage: isWithinMessage) { return violation }
        if !header.opcode.isControl { isWithinMessage = !header.isFinal }
        return nil
    }
}
