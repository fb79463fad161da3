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
    /// The upstream's own reach the client, in place of ours.
    var hasServer = false
    var hasDate = false

    init(_ fields: [FieldLine], _ plan: ProxyPlan) {
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
            case .server: hasServer = !isHidden(field, plan)
            case .date: hasDate = !isHidden(field, plan)
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
