internal import CNGHTTP2

/// What a frame is (RFC 9113 §6).
enum HTTP2FrameType: UInt8 {
    case data, headers, priority, resetStream, settings, pushPromise, ping, goAway, windowUpdate, continuation

    /// Before the payload of each frame there are so many bytes (RFC 9113 §4.1).
    static let headSize = 9
    /// The first type that is none of the above.
    static let firstUnknown: UInt8 = 10
}

extension nghttp2_frame_hd {
    /// `nil` for a type that RFC 9113 does not know.
    var frameType: HTTP2FrameType? { HTTP2FrameType(rawValue: type) }
    /// Nothing follows on the stream; of data and heads alone.
    var endsStream: Bool { flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 }
    /// The frame answers one of ours; of settings and pings alone.
    var isAcknowledgement: Bool { flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 }
}
