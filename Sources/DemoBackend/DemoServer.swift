package import EventLoop

/// A small web server to try a proxy with: pages that show what arrived, and WebSocket echo and chat.
///
/// Confined to its loop's thread, which may serve other things as well.
package final class DemoServer {
    private let listener: DemoListener

    /// Where the server listens, with the port that the system chose when it was asked for port 0.
    package let address: SocketAddress

    /// Starts listening.
    ///
    /// - Throws: the system call that failed.
    package init(loop: EventLoop, address: SocketAddress) throws(SystemError) {
        let descriptor: Int32
        do throws(SystemError) {
            descriptor = try Sockets.listen(on: address, options: Sockets.ListenOptions())
        } catch {
            throw SystemError(error.call, on: address.description, code: error.code)
        }
        self.address = Sockets.localAddress(descriptor) ?? address
        listener = DemoListener(loop: loop, descriptor: descriptor)
        do throws(SystemError) {
            try listener.startListening()
        } catch {
            listener.close()
            throw error
        }
    }

    package var port: UInt16 { address.port }

    /// In tests: connections that are open.
    package var connectionCount: Int { listener.connections.count }

    /// Stops listening and closes every connection.
    package func close() {
        listener.close()
        for connection in Array(listener.connections.values) { connection.end() }
    }

    /// What there is to try, for people: each request target with what it does.
    package static var thingsToTry: [(target: String, summary: String)] {
        DemoRoute.all.map { ($0.example, $0.summary) }
    }
}

final class DemoListener: ListenerChannel {
    fileprivate var connections: [ObjectIdentifier: DemoConnection] = [:]
    let chat = ChatRoom()

    override func accepted(_ descriptor: Int32, from peer: SocketAddress) {
        Sockets.disableDelay(descriptor)
        let connection = DemoConnection(listener: self, descriptor: descriptor)
        guard (try? connection.start()) != nil else { return connection.end() }
        connections[ObjectIdentifier(connection)] = connection
    }

    func connectionEnded(_ connection: DemoConnection) {
        connections[ObjectIdentifier(connection)] = nil
    }
}
