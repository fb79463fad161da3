internal import Config
internal import EventLoop
internal import ProxyCore

/// What the checks of a location need the world for.
extension ExchangeDriver {
    // MARK: Passwords

    func checkPassword(_ check: PasswordCheck) {
        let stored: StoredPassword?
        do throws(SystemError) {
            stored = try UserFile.password(of: check.user, in: check.file)
        } catch {
            log(error.isMissingFile ? .error : .crit, "\(error)")
            return proceed(error.isMissingFile ? .refuses(status: 403) : .fails(status: 500))
        }
        guard let stored else {
            let user = String(decoding: check.user, as: UTF8.self)
            log(.error, "user \"\(user)\" was not found in \"\(check.file)\"")
            return proceed(Router.challenge(exchange, realm: check.realm))
        }
        let outcome = worker.passwords.check(check.password, against: stored) { [unowned self] verdict in
            passwordTicket = nil
            worker.tick()
            stage = .proxying
            passwordChecked(check, verdict)
            resumed()
        }
        switch outcome {
        case .known(let verdict): passwordChecked(check, verdict)
        case .waiting(let ticket):
            passwordTicket = ticket
            stage = .checkingPassword
        }
    }

    private func passwordChecked(_ check: PasswordCheck, _ verdict: StoredPassword.Verdict) {
        switch verdict {
        case .matches: proceed(.letsIn)
        case .differs:
            log(.error, "user \"\(String(decoding: check.user, as: UTF8.self))\": password mismatch")
            proceed(Router.challenge(exchange, realm: check.realm))
        case .failed(let code):
            log(.crit, "\(SystemError("crypt_r", code: code))")
            proceed(.fails(status: 500))
        }
    }

    private func proceed(_ verdict: Router.AccessVerdict) {
        perform(Router.proceed(exchange, after: verdict))
    }

    /// The exchange ends: nobody waits for a password any more.
    func forgetPassword() {
        guard let ticket = passwordTicket else { return }
        passwordTicket = nil
        worker.passwords.giveBack(ticket)
    }
}
