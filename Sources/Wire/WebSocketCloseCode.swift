/// Status codes of close frames (RFC 6455 §7.4 and the IANA registry).
package enum WebSocketCloseCode {
    package static let normal: UInt16 = 1000
    package static let goingAway: UInt16 = 1001
    package static let protocolError: UInt16 = 1002
    /// In place of a code: the close frame had none (RFC 6455 §7.1.5).
    package static let noStatus: UInt16 = 1005
    /// In place of a code: there was no close frame.
    package static let abnormal: UInt16 = 1006
    package static let invalidPayload: UInt16 = 1007
    package static let policyViolation: UInt16 = 1008
    package static let messageTooBig: UInt16 = 1009
    package static let internalError: UInt16 = 1011
    package static let tryAgainLater: UInt16 = 1013
    package static let badGateway: UInt16 = 1014

    /// Whether a close frame may carry `code`: the registered ones but 1004 to 1006 and 1015, which only
    /// stand for the lack of a frame, and those that libraries (3000) and applications (4000) choose.
    package static func isValidOnWire(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}
