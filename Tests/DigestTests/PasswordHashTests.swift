import Digest
import Testing

/// What openssl passwd(1) and crypt(3) made of the same words.
@Suite("Hashes of passwords")
struct PasswordHashTests {
    @Test(
        "Apache's, whatever the length of password and salt",
        arguments: [
            ("open sesame", "$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ."), ("", "$apr1$x$tMwYqBfQwi3FYAr0aJc8M/"),
            ("a password that is longer than sixteen bytes", "$apr1$abcdefgh$AaK/FVm2z4lOI9DSq69901"),
        ])
    func apr1(_ password: String, _ hash: String) {
        #expect(APR1.hash(Array(password.utf8), setting: Array(hash.utf8)) == Array(hash.utf8))
    }

    @Test("a salt of Apache's ends at its eighth character, or where the setting does")
    func apr1Salts() {
        let long = APR1.hash(Array("x".utf8), setting: Array("$apr1$123456789".utf8))
        #expect(long?.starts(with: "$apr1$12345678$".utf8) == true)
        #expect(
            APR1.hash(Array("x".utf8), setting: Array("$apr1$".utf8))?.starts(with: "$apr1$$".utf8) == true)
        #expect(APR1.hash(Array("x".utf8), setting: Array("$1$salt".utf8)) == nil)
    }

    @Test(
        "the system's: DES, MD5, SHA-256, SHA-512, bcrypt, yescrypt and scrypt",
        arguments: [
            "ab/G8gtZdMwak", "$1$saltsalt$Yo6tRKYGO/jWyb1etwHDS/",
            "$5$saltsalt$yrhPKxCqiWcCE9h0g86j6Ugz7SDFdFm.BjU.d8RaQnC",
            "$6$saltsalt$e/5XKibXPLqVcfjpD.ouauaJrAOL5V0uo80Lt7n7EbRdRiCx3HbQ90yjOHr.G0T.mx79PEMRy8nmtr0qSYhQp1",
            "$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW",
            "$y$j75$saltsaltsalt$/t.p6VFaMssrvW9hjFBIPSCdXaaCzdMD9V8t0nx8fL.",
            "$7$A6....1....saltsaltsalt$qvJK75S0p0NV42b0IZalnZx1rBBKyVhs9GShbF3cf/7",
        ])
    func system(_ hash: String) throws {
        let password = Array("open sesame".utf8)
        #expect(try SystemCrypt.hash(password, setting: Array(hash.utf8)) == Array(hash.utf8))
        #expect(
            try SystemCrypt.hash(password + [0x21], setting: Array(hash.utf8)) != Array(hash.utf8)
                || hash.count == 13)
    }

    @Test("what is no setting makes no hash that is one", arguments: ["", "*0", "*1", "$99$salt$x"])
    func noSetting(_ setting: String) {
        let hash = try? SystemCrypt.hash(Array("x".utf8), setting: Array(setting.utf8))
        #expect(hash != Array(setting.utf8))
    }
}
