/// What the proxy calls itself in `Server`, on its pages and on the command line.
package enum Product {
    package static let name = "switchyard"
    package static let version = "0.1.0"
}
