/// What all workers share under a name, within a number of bytes: a `shared:name:size` of nginx's.
package protocol SharedZone: AnyObject, Sendable {
    /// - Parameter size: bytes.
    init(size: Int)
    /// - Parameter size: bytes, from now on.
    func resize(to size: Int)
}
