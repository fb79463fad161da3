internal import Config
internal import Wire

/// What an exchange has of its request and not of the client's connection, while it is put aside for a subrequest.
///
/// A subrequest shares everything else with its request, as in nginx: the head, the client, variables that were assigned and
/// those that maps have looked up.
final class RequestState {
    var location: Location
    var handler = ContentHandler.none
    var access = Router.AccessProgress()
    var passedRequestHooks = false
    var method: [UInt8] = []
    var uri: [UInt8] = []
    var arguments: [UInt8] = []
    var uriChanged = true
    var locationMatchesURI = true
    var pathHadEscapes = false
    var pathHadPlus = false
    var isInternal = true
    var remainingURIChanges = Exchange.maximumURIChanges
    var captures: [Int32] = []
    var captureSubject: [UInt8] = []
    var errorStatus = 0
    var errorPageWasTried = false
    /// The request's body is not the subrequest's.
    var bodyIsDiscarded = true
    var closesConnection = false
    var redirectURL: [UInt8]?
    var reasonIsOurs = false
    var attempts: [UpstreamAttempt] = []
    var response = ResponseHead()
    var responseTrailers: TrailerSection?
    var carried = CarriedFields()
    var proxyHost: [UInt8] = []
    var proxyPort: [UInt8] = []
    var proxyIsTLS = false
    var startedAt: Moment
    var sentHead: [UInt8] = []

    /// That of a subrequest by GET to `uri`.
    fileprivate init(_ uri: [UInt8], in location: Location, at startedAt: Moment) {
        self.location = location
        self.uri = uri
        self.startedAt = startedAt
        Method.get.append(to: &method)
    }
}

extension Exchange {
    /// The method of the client's request, as an error page leaves it, in a subrequest as well.
    var mainMethod: [UInt8] { mainRequest?.method ?? method }

    func beginSubrequest(_ uri: [UInt8]) {
        let state = RequestState(uri, in: server.root, at: clock.now)
        trade(state)
        mainRequest = state
    }

    /// The request goes on where it was put aside.
    package func endSubrequest() {
        guard let state = mainRequest else { return }
        mainRequest = nil
        trade(state)
    }

    private func trade(_ state: RequestState) {
        swap(&location, &state.location)
        swap(&handler, &state.handler)
        swap(&access, &state.access)
        swap(&passedRequestHooks, &state.passedRequestHooks)
        swap(&method, &state.method)
        swap(&uri, &state.uri)
        swap(&arguments, &state.arguments)
        swap(&uriChanged, &state.uriChanged)
        swap(&locationMatchesURI, &state.locationMatchesURI)
        swap(&pathHadEscapes, &state.pathHadEscapes)
        swap(&pathHadPlus, &state.pathHadPlus)
        swap(&isInternal, &state.isInternal)
        swap(&remainingURIChanges, &state.remainingURIChanges)
        swap(&captures, &state.captures)
        swap(&captureSubject, &state.captureSubject)
        swap(&errorStatus, &state.errorStatus)
        swap(&errorPageWasTried, &state.errorPageWasTried)
        swap(&bodyIsDiscarded, &state.bodyIsDiscarded)
        swap(&closesConnection, &state.closesConnection)
        swap(&redirectURL, &state.redirectURL)
        swap(&reasonIsOurs, &state.reasonIsOurs)
        swap(&attempts, &state.attempts)
        swap(&response, &state.response)
        swap(&responseTrailers, &state.responseTrailers)
        swap(&carried, &state.carried)
        swap(&proxyHost, &state.proxyHost)
        swap(&proxyPort, &state.proxyPort)
        swap(&proxyIsTLS, &state.proxyIsTLS)
        swap(&startedAt, &state.startedAt)
        swap(&sentHead, &state.sentHead)
    }
}
