/// How long the parts of a line of the error log may be, in bytes: peers and scripts could make them as long as they like.
package enum LogBounds {
    /// A message, as in nginx (NGX_MAX_ERROR_STR), where what is said of the request is part of that.
    package static let message = 2048
    /// A message of a script, with the traceback.
    package static let scriptMessage = 16_384
    /// Each thing that is said of the request: its line, its host.
    package static let value = 1024

    /// What stands behind something that was cut, of `count` bytes in all.
    package static func remark(_ count: Int) -> String { "... (cut, \(count) bytes in all)" }
}
