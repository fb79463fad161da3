/// What makes a request, or a response, malformed (RFC 9113 §8.1.1): its stream ends with an error, whatever the request would have
/// been answered with.
package enum HTTP2Malformation: String, Sendable, Error, CaseIterable {
    /// RFC 9113 §8.3
    case unknownPseudoField, repeatedPseudoField, latePseudoField, missingPseudoField, pseudoFieldInTrailers
    case pseudoFieldWithConnect
    /// RFC 9113 §8.3.1
    case invalidMethod, invalidScheme, invalidPath, invalidAuthority, repeatedHost, hostDiffersFromAuthority
    /// RFC 9113 §8.2.1
    case invalidFieldName, upperCaseFieldName, invalidFieldValue
    /// RFC 9113 §8.2.2
    case connectionSpecificField, invalidTE
    /// RFC 9113 §8.1.1
    case invalidContentLength, repeatedContentLength, contentLengthMismatch
    /// RFC 8441 §4
    case protocolWithoutConnect, invalidProtocol, contentWithConnect
    case trailersTooLarge, trailersWithoutEnd
    /// Of responses: RFC 9113 §8.3.2, and §8.1.
    case invalidStatus, headTooLarge, interimWithEnd, tooManyInterimHeads

    static let ofResponses: Set = [
        HTTP2Malformation.invalidStatus, .headTooLarge, .interimWithEnd, .tooManyInterimHeads,
    ]

    /// For the error log.
    package var message: String {
        switch self {
        case .unknownPseudoField: "an unknown pseudo-header field"
        case .repeatedPseudoField: "a pseudo-header field twice"
        case .latePseudoField: "a pseudo-header field behind other fields"
        case .missingPseudoField: "a pseudo-header field missing"
        case .pseudoFieldInTrailers: "a pseudo-header field in trailers"
        case .pseudoFieldWithConnect: "\":scheme\" or \":path\" in a CONNECT request"
        case .invalidMethod: "an invalid method"
        case .invalidScheme: "an invalid scheme"
        case .invalidPath: "an invalid path"
        case .invalidAuthority: "an invalid authority"
        case .repeatedHost: "\"host\" twice"
        case .hostDiffersFromAuthority: "\"host\" and \":authority\" that differ"
        case .invalidFieldName: "an invalid field name"
        case .upperCaseFieldName: "a field name with capital letters"
        case .invalidFieldValue: "an invalid field value"
        case .connectionSpecificField: "a connection-specific field"
        case .invalidTE: "\"te\" with another value than \"trailers\""
        case .invalidContentLength: "an invalid \"content-length\""
        case .repeatedContentLength: "\"content-length\" twice"
        case .contentLengthMismatch: "a body of another length than \"content-length\" says"
        case .protocolWithoutConnect: "\":protocol\" with a method other than CONNECT"
        case .invalidProtocol: "an invalid \":protocol\""
        case .contentWithConnect: "\"content-length\" in a CONNECT request"
        case .trailersTooLarge: "trailers that are too large"
        case .trailersWithoutEnd: "trailers that do not end the stream"
        case .invalidStatus: "an invalid \":status\""
        case .headTooLarge: "a head that is too large"
        case .interimWithEnd: "an interim head that ends the stream"
        case .tooManyInterimHeads: "too many interim heads"
        }
    }
}
