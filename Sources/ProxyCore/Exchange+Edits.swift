internal import Config
internal import Wire

/// What scripts and directives change of an exchange, where it takes more than to write a property.
extension Exchange {
    /// The request's `Host` is another: `$host` follows, as it does in OpenResty. The server stays.
    package func hostFieldChanged() {
        var name: [UInt8] = []
        let index = request.hostIndex
        hostIsGiven = request.fields.indices.contains(index)
        let bytes = request.bytes
        if hostIsGiven, HostName.append(bytes.span.extracting(request.fields[index].value), to: &name) {
            host = name
        } else {
            host = server.name
        }
    }

    /// Another query goes upstream, with the path as it is decoded: what the client wrote is not sent on any more, as in nginx.
    package func setArguments(_ arguments: [UInt8]) {
        self.arguments = arguments
        uriChanged = true
    }

    /// The response goes to the client with another status, and the reason that belongs to it.
    package func setResponseStatus(_ status: Int) {
        response.status = status
        reasonIsOurs = true
    }
}
