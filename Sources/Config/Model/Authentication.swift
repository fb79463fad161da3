/// `auth_basic`, `auth_request`, `satisfy` and `auth_delay`, where one of the first two is there.
package final class Authentication: Sendable {
    /// One check that lets the client in is enough, `allow` among them.
    package let needsOne: Bool
    /// Milliseconds that a client waits for a 401; 0 for none.
    package let delay: Int
    package let password: PasswordRule?
    package let subrequest: SubrequestRule?

    package init(needsOne: Bool, delay: Int, password: PasswordRule?, subrequest: SubrequestRule?) {
        self.needsOne = needsOne
        self.delay = delay
        self.password = password
        self.subrequest = subrequest
    }
}

/// `auth_basic` with `auth_basic_user_file`.
package struct PasswordRule: Sendable {
    /// What clients show to whom they ask; `off` for nobody to be asked.
    package var realm: Template
    /// A path, which may be relative to `directory`.
    package var userFile: Template
    package var directory: String

    /// The realm that is none.
    package static let off = Array("off".utf8)

    package init(realm: Template, userFile: Template, directory: String) {
        self.realm = realm
        self.userFile = userFile
        self.directory = directory
    }
}

/// `auth_request` with `auth_request_set`.
package struct SubrequestRule: Sendable {
    /// What is to become of a value of the response.
    package struct Assignment: Sendable {
        package enum Target: Sendable {
            case slot(Int)
            /// `$args`
            case arguments
        }

        package var target: Target
        package var value: Template

        package init(target: Target, value: Template) {
            self.target = target
            self.value = value
        }
    }

    /// A path, which is taken as it is: it has neither escapes nor a query.
    package var uri: [UInt8]
    /// In the order written.
    package var assignments: [Assignment]

    package init(uri: [UInt8], assignments: [Assignment]) {
        self.uri = uri
        self.assignments = assignments
    }
}
