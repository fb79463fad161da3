/// 20 000 messages like `sample`, with some bytes changed, and some of them cut; the same ones each time.
func mutated(_ sample: [UInt8]) -> some Sequence<[UInt8]> {
    var state: UInt64 = 1
    func random(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % bound
    }
    return (0..<20_000).lazy.map { _ in
        var message = sample
        for _ in 0...random(4) { message[random(message.count)] = UInt8(random(256)) }
        message.removeLast(random(3) == 0 ? random(message.count) : 0)
        return message
    }
}
