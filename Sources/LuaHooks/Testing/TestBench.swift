package import ProxyCore
package import Wire

/// What the tests of scripts want of the world: proxies on networks in memory, and a clock that moves when it is told
/// to. As `ScriptHost` is for scripts that run.
package protocol TestBench: AnyObject {
    /// What the clocks of the proxies show.
    var clock: Clock { get }
    /// A proxy with a network of its own, whose `init` hooks have run. It is `end`ed after the test.
    func makeProxy(
        _ setup: TestSetup, answeringFetches handler: TestFetchHandler?
    ) throws(TestFault) -> any TestProxy
    /// Lets time pass for all proxies, until `isOver` says that the test is.
    func advance(byMilliseconds milliseconds: Int64, until isOver: () -> Bool) throws(TestFault)
    /// What a fetch makes of a response.
    ///
    /// - Throws: why no server can send it.
    func fetched(_ response: TestMessage, by request: FetchRequest) throws(TestFault)
        -> Result<FetchResponse, FetchFailure>
    /// The same each time, for each test.
    func randomBytes(_ count: Int) -> [UInt8]
    /// A line of `print` and `sy.log`.
    func write(_ line: String)
}

/// Why a test cannot go on, as its author reads it.
package struct TestFault: Error, Sendable {
    package var message: String

    package init(_ message: String) { self.message = message }
}

/// What `proxy{…}` asks for.
package struct TestSetup: Sendable, Hashable {
    package struct Argument: Sendable, Hashable {
        package var name: String
        package var value: String
    }

    /// A plugin of the one location that there is.
    package var plugin: String?
    package var arguments: [Argument] = []
    /// Further directives of these levels.
    package var location = ""
    package var server = ""
    package var http = ""
    /// A whole configuration, or the file of one, in place of all that.
    package var config: String?
    package var file: String?

    package init() {}
}

/// A request or a response on its way into the network.
package struct TestMessage: Sendable {
    package var method = Array("GET".utf8)
    package var target = Array("/".utf8)
    package var status = 200
    package var fields: [FetchHeader] = []
    package var body: [UInt8]?
    /// In place of a body of a known length: chunks, each of which the proxy has before the next is sent.
    package var pieces: [[UInt8]] = []

    package init() {}
}

/// What `p:websocket{…}` asks for.
package struct TestHandshake: Sendable {
    package var target = Array("/".utf8)
    package var fields: [FetchHeader] = []
    package var protocols: [[UInt8]] = []
    package var offersDeflate = false

    package init() {}
}

/// How a client comes to the proxy.
package struct TestConnection: Sendable {
    /// The client's, `host:port` or a host alone; one is made up without.
    package var address: String?
    /// Where it connects to, as the configuration has it; the first listener there is without.
    package var listener: String?
    /// Of a listener with `ssl`.
    package var tls: TestTLS?

    package init() {}
}

/// What a client's handshake is to have come to.
package struct TestTLS: Sendable {
    package var facts: [ClientTLSFact: [UInt8]] = [:]
    /// Whether an authority vouches for the client's certificate; it has none without.
    package var isVerified: Bool?

    package init() {}
}

/// Takes a request of a backend's at once; `nil` leaves it for later.
package typealias TestHandler = (any TestRequest) -> TestMessage?

/// Answers what has come to a server so far; `nil` leaves it for later.
package typealias TestDataHandler = ([UInt8]) -> [UInt8]?

/// What becomes of a `sy.fetch`; `nil` where it goes out to the backends as any other.
package typealias TestFetchAnswer = Result<FetchResponse, FetchFailure>?

package typealias TestFetchHandler = (FetchRequest) -> TestFetchAnswer

package protocol TestProxy: AnyObject {
    func connect(_ connection: TestConnection) throws(TestFault) -> any TestClient
    func openWebSocket(
        _ handshake: TestHandshake, _ connection: TestConnection
    ) throws(TestFault) -> any TestWebSocket
    /// Takes connections to `address`, or to wherever no other backend is.
    func addBackend(at address: String?, _ handler: TestHandler?) throws(TestFault) -> any TestBackend
    /// Takes connections to `address`, on which the test has its own say.
    func addServer(at address: String, _ handler: TestDataHandler?) throws(TestFault) -> any TestServer
    func answerFetches(_ handler: @escaping TestFetchHandler)
    /// Lines of the error log since the last call, `[level] message`.
    func takeErrors() -> [String]
    /// Lines of an access log since the last call.
    func takeAccessLog(_ path: String?) -> [String]
    /// As SIGQUIT.
    func drain()
    func end()
}

package protocol TestClient: AnyObject {
    func send(_ request: TestMessage)
    func send(_ bytes: [UInt8])
    /// The next response, once it is whole.
    func takeResponse() throws(TestFault) -> FetchResponse?
    var isClosed: Bool { get }
    func close()
    /// Breaks the connection off.
    func reset()
}

/// Where the proxy connects to, whatever is spoken there.
package protocol TestHost: AnyObject {
    func refuse()
    func staySilent()
    var connections: Int { get }
}

package protocol TestBackend: TestHost {
    func takeRequest() -> (any TestRequest)?
}

package protocol TestServer: TestHost {
    func takeConnection() -> (any TestSocket)?
}

/// One connection to a server.
package protocol TestSocket: AnyObject {
    /// The script has closed it.
    var isClosed: Bool { get }
    func send(_ data: [UInt8]) throws(TestFault)
    /// What has come and was not taken.
    var received: [UInt8] { get set }
    func close()
    /// Breaks the connection off.
    func reset()
}

package protocol TestRequest: AnyObject {
    var method: [UInt8] { get }
    var target: [UInt8] { get }
    var fields: [FetchHeader] { get }
    var body: [UInt8] { get }
    func respond(_ response: TestMessage) throws(TestFault)
    /// `deflate`: with the permessage-deflate that it offers.
    func acceptWebSocket(
        subprotocol: [UInt8]?, fields: [FetchHeader], deflate: Bool
    ) throws(TestFault) -> any TestWebSocket
    /// Breaks the connection off.
    func reset()
}

package protocol TestWebSocket: AnyObject {
    /// What the handshake was answered with; `nil` until it is.
    var response: FetchResponse? { get }
    /// `Sec-WebSocket-Extensions` of the 101; `nil` where it has none.
    var extensions: [UInt8]? { get }
    var isOpen: Bool { get }
    /// Pings are answered as they come.
    var answersPings: Bool { get set }
    /// Sends a text, or a binary message, in a frame for each fragment.
    func send(_ fragments: [[UInt8]], isText: Bool) throws(TestFault)
    /// Sends a frame as it is.
    func send(_ frame: TestFrame) throws(TestFault)
    /// The next thing that came: takes the frames that it is made of.
    func takeEvent() throws(TestFault) -> TestWebSocketEvent?
    /// The next frame, or the next of a kind.
    func takeFrame(_ opcode: WebSocketOpcode?) throws(TestFault) -> TestFrame?
    func close(code: UInt16, reason: [UInt8]) throws(TestFault)
    func reset()
}

/// A frame as it is on the wire, but for its mask.
package struct TestFrame: Sendable {
    package var opcode: WebSocketOpcode
    package var payload: [UInt8]
    package var isFinal: Bool

    package init(_ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool) {
        self.opcode = opcode
        self.payload = payload
        self.isFinal = isFinal
    }
}

package enum TestWebSocketEvent: Sendable, Equatable {
    case message([UInt8], isText: Bool)
    /// A close frame; 1005 stands for one without a code.
    case close(code: UInt16, reason: [UInt8])
    /// The connection ended without one.
    case ended
}
