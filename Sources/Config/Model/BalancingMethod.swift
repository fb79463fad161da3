/// How an upstream group chooses among its servers: round robin, or what one of the directives of its block says.
package struct BalancingMethod: Sendable, Hashable {
    package enum Kind: Sendable, Hashable, CaseIterable {
        case roundRobin, leastConnections, addressHash, keyHash, consistentHash, random, randomOfTwo
    }

    package let kind: Kind
    /// What is hashed, where the configuration says it.
    package let key: Template?

    package init(_ kind: Kind, key: Template? = nil) {
        self.kind = kind
        self.key = key
    }

    package static let roundRobin = BalancingMethod(.roundRobin)
}
