internal import Wire

/// Everybody who is on `/chat`. What one sends, all receive, the sender too.
final class ChatRoom {
    /// Bytes that a member may be behind with before it is left behind.
    private static let maxUnsent = 1 << 20

    private var members: [ObjectIdentifier: DemoWebSocket] = [:]

    var count: Int { members.count }

    func join(_ member: DemoWebSocket) {
        members[ObjectIdentifier(member)] = member
        announce()
    }

    /// Safe to call again.
    func leave(_ member: DemoWebSocket) {
        guard members.removeValue(forKey: ObjectIdentifier(member)) != nil else { return }
        announce()
    }

    func broadcast(_ opcode: WebSocketOpcode, _ message: [UInt8]) {
        var slow: [DemoWebSocket] = []
        for member in Array(members.values) {
            member.send(opcode, message)
            if member.unsentBytes > Self.maxUnsent { slow.append(member) }
        }
        for member in slow { member.close(WebSocketCloseCode.policyViolation, "too slow") }
    }

    /// Tells the members how many they are.
    private func announce() { broadcast(.text, Array(#"{"people":\#(count)}"#.utf8)) }
}
