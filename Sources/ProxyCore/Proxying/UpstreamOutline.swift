internal import Wire

/// What must be known of an upstream's fields before the first line is written to the client.
struct UpstreamOutline {
    /// Values, as ranges of the head's bytes.
    var contentType: Range<Int>?
    var contentLength: Range<Int>?
    var location: Range<Int>?
    /// A script wrote the location, so that `proxy_redirect` has no say in it.
    var locationIsEdited = false
    var lastModified: Range<Int>?
    /// The upstream's own reach the client, in place of ours, or a script's. An upstream that has none leaves it at that.
    var hasServer: Bool
    var hasDate: Bool

    init(_ fields: [FieldLine], _ plan: ProxyPlan) {
        // Where `proxy_pass_header` names them.
        hasServer = !plan.hidden.contains(.server)
        hasDate = !plan.hidden.contains(.date)
        for field in fields {
            switch field.id {
            case .contentType where !isHidden(field, plan): contentType = field.value
            case .contentLength: contentLength = field.value
            case .location where !isHidden(field, plan):
                if location == nil {
                    location = field.value
                    locationIsEdited = field.isEdited
                }
            case .lastModified: lastModified = field.value
            case .server where field.isEdited: hasServer = true
            case .date where field.isEdited: hasDate = true
            default: break
            }
        }
        if contentType?.isEmpty ?? false { contentType = nil }
    }

    /// What the configuration hides is the upstream's, not what a script put in its place.
    private func isHidden(_ field: FieldLine, _ plan: ProxyPlan) -> Bool {
        !field.isEdited && plan.hidden.contains(field.id)
    }
}
