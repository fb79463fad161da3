extension Interpreter {
    /// The request's body has been read to its end, as `FlowOwner.readBody` asked for.
    package func bodyReceived(_ body: [UInt8], of flow: ScriptFlow) {
        flow.body = body
        let waiters = flow.bodyWaiters
        flow.bodyWaiters = []
        for waiter in waiters {
            resume(waiter) { stack in
                stack.push(body)
                return 1
            }
        }
    }
}
