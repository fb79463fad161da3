import Testing

@testable import Config

@Suite("Where Redis is")
struct RedisURLTests {
    private static func url(
        _ host: String, _ port: UInt16 = 6379, user: String = "", password: String = "", database: Int = 0
    ) -> RedisURL? {
        var url = RedisURL("redis://x")
        url?.host = host
        url?.port = port
        url?.user = user
        url?.password = password
        url?.database = database
        return url
    }

    @Test("every part is optional but the host")
    func parts() {
        #expect(RedisURL("redis://a.test") == Self.url("a.test"))
        #expect(RedisURL("redis://a.test/") == Self.url("a.test"))
        #expect(RedisURL("redis://10.0.0.1:7000/3") == Self.url("10.0.0.1", 7000, database: 3))
        #expect(RedisURL("redis://[::1]:7000") == Self.url("::1", 7000))
        #expect(RedisURL("redis://:s%40cret@a") == Self.url("a", password: "s@cret"))
        #expect(
            RedisURL("redis://me:s:p@a:1/2") == Self.url("a", 1, user: "me", password: "s:p", database: 2))
        #expect(RedisURL("unix:/run/redis.sock") == Self.url("unix:/run/redis.sock", 0))
    }

    @Test(
        "anything else is no such URL",
        arguments: [
            "", "redis://", "a.test", "http://a", "redis://a:0", "redis://a:65536", "redis://a:x",
            "redis://a/x",
            "redis://a/70000", "redis://me@a", "redis://me:@a", "redis://:%4@a", "redis://:%zz@a",
            "redis://::1",
            "redis://[a]", "redis://[::1", "redis://[::1]7", "redis://a b", "unix:relative", "rediss://a",
        ])
    func others(text: String) {
        #expect(RedisURL(text) == nil)
    }
}
