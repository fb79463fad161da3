internal import Wire

/// What must be known of an upstream's fields before the first line is written to the client.
struct UpstreamOutline {
    /// Values, as ranges of the head's bytes.
    var contentType: Range<Int>?
    var contentLength: Range<Int>?
    var location: Range<Int>?
    var lastModified: Range<Int>?
    /// The upstream's own reach the client, in place of ours.
    var hasServer = false
    var hasDate = false

    init(_ fields: [FieldLine], _ plan: ProxyPlan) {
        for field in fields {
            switch field.id {
            case .contentType: contentType = field.value
            case .contentLength: contentLength = field.value
            case .location: if location == nil { location = field.value }
            case .lastModified: lastModified = field.value
            case .server: hasServer = !plan.hidden.contains(.server)
            case .date: hasDate = !plan.hidden.contains(.date)
            default: break
            }
        }
        if contentType?.isEmpty ?? false || plan.hidden.contains(.contentType) { contentType = nil }
        if plan.hidden.contains(.location) { location = nil }
    }
}
