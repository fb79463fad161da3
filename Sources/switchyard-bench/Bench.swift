internal import ArgumentParser

@main
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switchyard-bench",
        abstract: "Loads a proxy, and stands behind it.",
        discussion: """
            Start `backend`, point a proxy at it, and send it requests with `http`, messages with `ws`, WebSockets \
            that come and go with `open`, or idle tunnels with `hold`. Each load prints one line of JSON and ends with a status other than 0 when \
            anything went wrong.
            """,
        subcommands: [
            BackendCommand.self, HTTPCommand.self, WebSocketCommand.self, OpenCommand.self, HoldCommand.self,
        ])
}
