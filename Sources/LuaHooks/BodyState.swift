internal import ProxyCore

/// What is handed from hook to hook of a stage: a piece of a body on its way.
///
/// The last piece is empty. What a hook makes of that comes before the last for those that follow: each of them is called
/// twice then, the second time for the last piece, which is empty again.
struct BodyState {
    /// What comes to the hook.
    var bytes: [UInt8] = []
    var isLast = false
    /// A hook has decided otherwise than to let it be.
    var isChanged = false
    /// The last piece came with something in it: a whole body, which stays in one.
    private let isWhole: Bool
    /// What the hook has made of what comes before the last piece, which is asked of it now.
    private var made: [UInt8]?
    /// Milliseconds that drain hooks have asked for.
    var grace: Int64?

    init(bytes: [UInt8] = [], isLast: Bool = false) {
        self.bytes = bytes
        self.isLast = isLast
        isWhole = isLast && !bytes.isEmpty
    }

    /// The hook is to be called for what comes before the last piece, and again for that.
    var comesBeforeLast: Bool { isLast && !isWhole && made == nil && !bytes.isEmpty }

    /// A hook has made `bytes` of its piece; `cameBeforeLast` is what `comesBeforeLast` was before.
    ///
    /// - Returns: whether the next hook's turn has come.
    mutating func goOn(_ cameBeforeLast: Bool) -> Bool {
        if cameBeforeLast {
            made = bytes
            bytes = []
            return false
        }
        if let made {
            bytes = made + bytes
            self.made = nil
        }
        return true
    }
}
