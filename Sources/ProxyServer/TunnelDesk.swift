/// Where what other workers ask of a worker comes in: orders for its tunnels, and messages for other nodes.
///
/// Orders are taken on the worker's thread, which alone reads and writes what is here; others only pass it on.
final class TunnelDesk: @unchecked Sendable {
    unowned var worker: Worker?
}
