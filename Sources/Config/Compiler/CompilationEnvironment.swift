/// What compiling depends on besides the text.
package struct CompilationEnvironment: Sendable {
    /// The directory under which relative paths of logs and the pid file are.
    package var prefix: String
    /// Names of the variables that exist without being defined, in lower case.
    package var builtinVariables: Set<String>
    /// Where errors go without an `error_log`; `nil` means `logs/error.log` under the prefix.
    package var defaultErrorLog: ErrorLog.Destination?
    /// `$hostname`, for `server_name $hostname`.
    package var hostname: [UInt8]
    /// Whether ports below 1024 may be used: a server without `listen` is on port 80, else on 8000.
    package var isPrivileged: Bool
    /// Numeric addresses of a host name, for `listen` and `resolver`.
    package var addressesOfHost: @Sendable (_ name: String) -> [String]
    /// Whether there is a user, or a group, of the name, for `user`; without root nobody needs to know.
    package var hasUser: @Sendable (_ name: String) -> Bool = { _ in true }
    package var hasGroup: @Sendable (_ name: String) -> Bool = { _ in true }
    /// Looks into scripts; accepts all of them unless set.
    package var scripts = ScriptProbe.none

    package init(
        prefix: String, builtinVariables: Set<String>, hostname: [UInt8] = [], isPrivileged: Bool = true,
        addressesOfHost: @escaping @Sendable (_ name: String) -> [String] = Self.loopbackOnly
    ) {
        self.prefix = prefix
        self.builtinVariables = builtinVariables
        self.hostname = hostname
        self.isPrivileged = isPrivileged
        self.addressesOfHost = addressesOfHost
    }

    /// Knows `localhost` and no other name.
    package static let loopbackOnly: @Sendable (String) -> [String] = {
        $0 == "localhost" ? ["127.0.0.1"] : []
    }
}
