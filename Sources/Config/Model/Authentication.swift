/// `auth_basic` and `satisfy`, where the first is there.
package final class Authentication: Sendable {
    /// One check that lets the client in is enough, `allow` among them.
    package let needsOne: Bool
    package let password: PasswordRule?

    package init(needsOne: Bool, password: PasswordRule?) {
        self.needsOne = needsOne
        self.password = password
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
