internal import LuaHooks
internal import ProxyCore

extension LocalResponse {
    /// What a script answers with.
    init(_ response: ScriptResponse) {
        self.init(status: response.status)
        body = response.body
        for field in response.fields {
            switch String(decoding: field.name, as: UTF8.self).lowercased() {
            case "content-type": contentType = field.value
            case "location": location = field.value
            default: fields.append(field)
            }
        }
        // Without a body of the script's, what is an error still has its page.
        if body == nil, status < 300 { body = [] }
    }
}
