package import Config

/// What computes the variables that scripts define: the interpreter of the exchange's worker and configuration.
package protocol ScriptEngine: AnyObject {
    /// Whether the location of these settings has hooks to be asked before the request is proxied or answered.
    func hasRequestHooks(in settings: Settings) -> Bool

    /// Appends the value of the variable in this slot, for the location that the exchange is in.
    ///
    /// - Returns: false where no script of the location defines it. Where its function waits, nothing is appended and
    ///   `exchange.scriptIsPending` is set, provided that `exchange.scriptsMayWait`.
    func append(_ slot: Int, of exchange: Exchange, to out: inout [UInt8]) -> Bool
}
