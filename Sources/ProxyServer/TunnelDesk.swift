/// Where orders of other workers for a worker's tunnels come in.
///
/// Orders are taken on the worker's thread, which alone reads and writes what is here; others only pass it on.
final class TunnelDesk: @unchecked Sendable {
    unowned var worker: Worker?
}
