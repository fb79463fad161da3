import Digest
import Testing

@Suite("Hash functions")
struct DigestTests {
    private func hex<let size: Int>(_ digest: InlineArray<size, UInt8>?) -> String? {
        guard let digest else { return nil }
        return digest.indices.map { index in
            let text = String(digest[index], radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }

    @Test(
        "MD5 of RFC 1321's examples",
        arguments: [
            ("", "d41d8cd98f00b204e9800998ecf8427e"), ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ])
    func md5(_ text: String, _ digest: String) {
        let bytes = Array(text.utf8)
        #expect(hex(MD5.digest(bytes.span)) == digest)
    }

    @Test(
        "SHA-1 of FIPS 180's examples",
        arguments: [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
            ),
        ])
    func sha1(_ text: String, _ digest: String) {
        let bytes = Array(text.utf8)
        #expect(hex(SHA1.digest(bytes.span)) == digest)
    }

    @Test(
        "SHA-256 of FIPS 180's examples",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ])
    func sha256(_ text: String, _ digest: String) {
        let bytes = Array(text.utf8)
        #expect(hex(SHA256.digest(bytes.span)) == digest)
    }

    @Test(
        "HMAC-SHA-256 of RFC 4231's cases 1, 2, 6 and 7",
        arguments: [
            (
                [UInt8](repeating: 0x0b, count: 20), "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
            ),
            (
                Array("Jefe".utf8), "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            ),
            (
                [UInt8](repeating: 0xaa, count: 131),
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
            ),
            (
                [UInt8](repeating: 0xaa, count: 131),
                "This is a test using a larger than block-size key and a larger than block-size data. The key needs "
                    + "to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"
            ),
        ])
    func hmac(_ key: [UInt8], _ text: String, _ digest: String) {
        let bytes = Array(text.utf8)
        #expect(hex(HMAC.sha256(key: key.span, bytes.span)) == digest)
    }

    @Test(
        "HMAC-SHA-1 of RFC 2202's cases 1, 2 and 6",
        arguments: [
            (
                [UInt8](repeating: 0x0b, count: 20), "Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"
            ),
            (
                Array("Jefe".utf8), "what do ya want for nothing?",
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
            ),
            (
                [UInt8](repeating: 0xaa, count: 80), "Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112"
            ),
        ])
    func hmacSHA1(_ key: [UInt8], _ text: String, _ digest: String) {
        let bytes = Array(text.utf8)
        #expect(hex(HMAC.sha1(key: key.span, bytes.span)) == digest)
    }
}
