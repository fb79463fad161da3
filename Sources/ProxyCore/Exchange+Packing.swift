internal import Wire

extension Exchange {
    /// Goes over all that may still be asked for once the head of the response is sent. References are left out: they
    /// are for whoever keeps what is packed. So is what routing alone uses, which is over.
    func pack(_ pack: inout some Packing) {
        pack.pack(&listener)
        pack.pack(word: &randomBytes.0)
        pack.pack(word: &randomBytes.1)
        packNumbers(&pack)
        packClient(&pack)
        request.pack(&pack)
        packRouting(&pack)
        pack.pack(&reasonIsOurs)
        packAttempts(&pack)
        response.pack(&pack)
        pack.pack(&responseTrailers, new: TrailerSection()) { $1.pack(&$0) }
        pack.pack(&proxyHost)
        pack.pack(&proxyPort)
        pack.pack(&requestBody, new: []) { $0.pack(&$1) }
        webSocketDeflate.pack(&pack)
        pack.pack(&sentHead)
        pack.pack(&sentTrailers)
        pack.pack(&isPipelined)
        mapValues.pack(&pack)
    }

    /// Times and counters, which go on changing.
    func packNumbers(_ pack: inout some Packing) {
        pack.pack(&startedAt.unix)
        pack.pack(&startedAt.monotonic)
        client.connectedAt.pack(&pack, since: startedAt)
        pack.pack(&status)
        pack.pack(&sentHeadBytes)
        pack.pack(&sentBodyBytes)
        pack.pack(&receivedHeadBytes)
        pack.pack(&receivedBodyBytes)
        pack.pack(&isComplete)
    }

    func packAttempts(_ pack: inout some Packing) {
        let start = startedAt
        pack.pack(&attempts, new: UpstreamAttempt(address: [], startedAt: start)) {
            $1.pack(&$0, since: start)
        }
    }

    private func packClient(_ pack: inout some Packing) {
        pack.pack(&client.address)
        pack.pack(&client.port)
        pack.pack(&client.binaryAddress)
        pack.pack(&client.serverAddress)
        pack.pack(&client.serverPort)
        pack.pack(&client.serial)
        pack.pack(&client.requests)
        pack.pack(&client.connection, new: ClientFacts()) { pack, connection in
            pack.pack(&connection.address)
            pack.pack(&connection.port)
        }
    }

    /// What routing has decided.
    private func packRouting(_ pack: inout some Packing) {
        pack.pack(&requestURI)
        pack.pack(&uri)
        pack.pack(&arguments)
        pack.pack(&method)
        pack.pack(&host)
        pack.pack(&hostIsGiven)
        pack.pack(&uriChanged)
        pack.pack(&locationMatchesURI)
        pack.pack(&pathHadEscapes)
        pack.pack(&pathHadPlus)
        pack.pack(&isInternal)
        assigned.pack(&pack)
        pack.pack(&captures, new: 0) { $0.pack(&$1) }
        pack.pack(&captureSubject)
        pack.pack(&errorStatus)
        pack.pack(&errorPageWasTried)
        pack.pack(&bodyIsDiscarded)
        pack.pack(&requestLimitStatus, else: .none)
        pack.pack(&connectionLimitStatus, else: .none)
        pack.pack(&closesConnection)
        pack.pack(&scriptsMayWait)
        pack.pack(&responseBodyIsScripted)
        pack.pack(&passedRequestHooks)
    }
}

extension UpstreamAttempt {
    /// `start` is that of the exchange.
    fileprivate mutating func pack(_ pack: inout some Packing, since start: Moment) {
        pack.pack(&address)
        startedAt.pack(&pack, since: start)
        pack.pack(&status)
        pack.pack(&connectTime)
        pack.pack(&headerTime)
        pack.pack(&responseTime)
        pack.pack(&bytesSent)
        pack.pack(&bytesReceived)
        pack.pack(&responseLength)
        pack.pack(&followsRedirect)
    }
}

extension Moment {
    /// As times since another moment, which are short.
    fileprivate mutating func pack(_ pack: inout some Packing, since start: Moment) {
        var (unix, monotonic) = (unix &- start.unix, monotonic &- start.monotonic)
        pack.pack(&unix)
        pack.pack(&monotonic)
        self = Moment(unix: start.unix &+ unix, monotonic: start.monotonic &+ monotonic)
    }
}

extension WebSocketDeflateTerms {
    fileprivate mutating func pack(_ pack: inout some Packing) {
        let none = PermessageDeflate.Parameters()
        pack.pack(&isTerminated)
        pack.pack(&client, new: none) { $1.pack(&$0) }
        pack.pack(&value)
        pack.pack(&upstream, new: none) { $1.pack(&$0) }
        pack.pack(&passed, new: none) { $1.pack(&$0) }
        pack.pack(&hasOthers)
        pack.pack(&hasUnshared)
    }
}
