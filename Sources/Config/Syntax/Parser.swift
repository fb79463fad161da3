/// A directive as written: its name, its arguments, and the directives in its block.
package struct DirectiveNode: Sendable, Hashable {
    package enum Body: Sendable, Hashable {
        /// Ended by `;`.
        case none
        case block([DirectiveNode])
        /// The Lua in the braces of a `…_by_lua_block`.
        case script(ScriptText)
    }

    package var name: Word
    package var arguments: [Word]
    package var body: Body

    package init(name: Word, arguments: [Word] = [], body: Body = .none) {
        self.name = name
        self.arguments = arguments
        self.body = body
    }

    package var position: SourcePosition { name.position }
}

/// Reads files into a tree of directives, replacing each `include` by what it includes.
///
/// It knows nothing of directives but `include`, and that names in `_by_lua_block` have Lua in their braces. After a fault it goes on behind the next `;` or `}`, so that
/// one run finds them all.
package struct Parser {
    /// Files within files.
    private static let deepestInclude = 32
    /// Blocks within blocks, counted through files; beyond any use, but recursion must end.
    private static let deepestBlock = 64

    let files: ConfigurationFiles
    /// Directory that relative paths of `include` are under.
    let configurationDirectory: String
    private var order = 0
    private var blockDepth = 0
    /// Lua that does not end took the braces of the blocks around it: nothing is said about those.
    private var luaTookRest = false
    /// The blocks of the file being read that are open, the outermost first.
    private var openBlocks: [OpenBlock] = []
    /// The first block of the file that ended at a `}` further left than its name, as the block around it would.
    private var doubtfulBlock: (block: OpenBlock, end: SourcePosition)?
    /// Where the last token of the file stood that ended something.
    private var lastLine = 0
    /// The files being read, each included by the one before.
    private var openFiles: [String] = []
    package private(set) var diagnostics: [ConfigDiagnostic] = []
    /// Every file that was read, in that order, each once.
    package private(set) var sources: [SourceFile] = []

    package init(files: ConfigurationFiles, configurationDirectory: String) {
        self.files = files
        self.configurationDirectory = configurationDirectory
    }

    /// The directives of a file, or none (and a diagnostic) when it cannot be read.
    package mutating func parse(path: String) -> [DirectiveNode] {
        parse(path: path, includedBy: nil)
    }

    /// The directives of a text; `name` stands for its file's name in messages.
    package mutating func parse(text: [UInt8], name: String) -> [DirectiveNode] {
        var lexer = Lexer(text, file: name, order: order)
        let outer = (openBlocks, doubtfulBlock, lastLine)
        (openBlocks, doubtfulBlock, lastLine) = ([], nil, 0)
        let nodes = directives(&lexer, opened: nil)
        (openBlocks, doubtfulBlock, lastLine) = outer
        luaTookRest = false
        order = lexer.nextOrder
        return nodes
    }

    private mutating func parse(path: String, includedBy include: DirectiveNode?) -> [DirectiveNode] {
        guard !openFiles.contains(path) else {
            report(include?.position, directive: "include", "found \"\(path)\", which includes itself")
            return []
        }
        switch files.read(path) {
        case .failure(let failure):
            report(
                include?.position, directive: include?.name.text ?? "",
                "cannot read \"\(path)\": \(failure.reason)")
            return []
        case .success(let bytes):
            if !sources.contains(where: { $0.path == path }) {
                sources.append(SourceFile(path: path, bytes: bytes))
            }
            openFiles.append(path)
            defer { openFiles.removeLast() }
            return parse(text: bytes, name: path)
        }
    }

    /// Directives up to the `}` that closes the block opened at `opened`, or up to the file's end.
    private mutating func directives(
        _ lexer: inout Lexer, opened: SourcePosition?
    ) -> [DirectiveNode] {
        var nodes: [DirectiveNode] = []
        var words: [Word] = []
        // Whether the first of them is the first of its line.
        var startsLine = false
        // A fault was reported in the directive being read: nothing more is said about it.
        var isSpoilt = false
        while true {
            switch lexer.next() {
            case .word(let word):
                if words.isEmpty { startsLine = word.position.line > lastLine }
                words.append(word)
            case .semicolon(let position):
                lastLine = position.line
                if isSpoilt {
                    words = []
                    isSpoilt = false
                } else if words.isEmpty {
                    report(position, "found \";\", expected a directive")
                } else {
                    finish(&words, into: &nodes, &lexer)
                }
            case .openBrace(let position):
                lastLine = position.line
                openBlocks.append(OpenBlock(name: words.first, startsLine: startsLine, opened: position))
                let body = body(of: words.first, &lexer, opened: position)
                openBlocks.removeLast()
                if isSpoilt {
                    words = []
                    isSpoilt = false
                } else if words.isEmpty {
                    report(position, "found \"{\", expected a directive")
                } else {
                    if let body {
                        nodes.append(
                            DirectiveNode(name: words[0], arguments: Array(words.dropFirst()), body: body))
                    }
                    words = []
                }
            case .closeBrace(let position):
                lastLine = position.line
                if doubtfulBlock == nil, let block = openBlocks.last, block.isDoubtful(endedAt: position) {
                    doubtfulBlock = (block, position)
                }
                if let word = words.first {
                    if !isSpoilt { report(position, directive: word.text, "found \"}\", expected \";\"") }
                    words = []
                    isSpoilt = false
                } else if opened == nil {
                    report(position, "found \"}\" where no block is open")
                }
                if opened != nil { return nodes }
            case .fault(let position, let message):
                if !isSpoilt { report(position, directive: words.first?.text ?? "", message) }
                isSpoilt = true
            case .end(let position):
                if let word = words.first, !isSpoilt {
                    // A whole file of HAProxy's is read as one directive.
                    let hint =
                        OtherProgramsDirectives.isHAProxys(word.text)
                        ? ": it is a word of HAProxy, see " + OtherProgramsDirectives.fromHAProxy : ""
                    report(
                        position, directive: word.text,
                        "found the end of the file, expected \";\" or \"{\"" + hint)
                }
                // The innermost block says it for all.
                if let message = unendedBlocks, !luaTookRest { report(position, message) }
                openBlocks = openBlocks.map(\.told)
                return nodes
            }
        }
    }

    /// What is said of blocks that are open at the end of the file, or `nil` without any that it was not said of.
    private var unendedBlocks: String? {
        let names = openBlocks.filter { !$0.isTold }.map(\.description)
        guard !names.isEmpty else { return nil }
        var message =
            "found the end of the file, expected \"}\" for \(names.reversed().joined(separator: " and for "))"
        if let doubt = doubtfulBlock {
            message +=
                ", or for \(doubt.block.description): the \"}\" of line \(doubt.end.line) stands further left"
        }
        return message
    }

    /// What stands in the braces of the directive, or `nil` and a report when that is Lua without an end.
    private mutating func body(
        of name: Word?, _ lexer: inout Lexer, opened: SourcePosition
    ) -> DirectiveNode.Body? {
        guard let name, name.text.hasSuffix("_by_lua_block") else {
            return .block(block(&lexer, opened: opened))
        }
        switch lexer.luaBlock(opened: opened) {
        case .success(let text): return .script(text)
        case .failure(let fault):
            report(fault.position, directive: name.text, fault.message)
            luaTookRest = fault.tookRest
            return nil
        }
    }

    private mutating func block(_ lexer: inout Lexer, opened: SourcePosition) -> [DirectiveNode] {
        guard blockDepth < Parser.deepestBlock else {
            report(opened, "found blocks nested more than \(Parser.deepestBlock) deep")
            skipBlock(&lexer)
            return []
        }
        blockDepth += 1
        defer { blockDepth -= 1 }
        return directives(&lexer, opened: opened)
    }

    private mutating func skipBlock(_ lexer: inout Lexer) {
        var open = 1
        while open > 0 {
            switch lexer.next() {
            case .openBrace: open += 1
            case .closeBrace: open -= 1
            case .end: return
            case .word, .semicolon, .fault: break
            }
        }
    }

    private mutating func finish(
        _ words: inout [Word], into nodes: inout [DirectiveNode], _ lexer: inout Lexer
    ) {
        let node = DirectiveNode(name: words[0], arguments: Array(words.dropFirst()))
        words = []
        guard node.name.text == "include" else {
            nodes.append(node)
            return
        }
        order = lexer.nextOrder
        nodes += included(by: node)
        lexer.resume(order: order)
    }

    private mutating func included(by node: DirectiveNode) -> [DirectiveNode] {
        guard node.arguments.count == 1 else {
            report(
                node.position, directive: "include", "found \(node.arguments.count) arguments, expected 1")
            return []
        }
        guard openFiles.count <= Parser.deepestInclude else {
            report(
                node.position, directive: "include",
                "found files included more than \(Parser.deepestInclude) deep")
            return []
        }
        let path = Paths.path(node.arguments[0].text, under: configurationDirectory)
        guard path.utf8.contains(where: { "*?[".utf8.contains($0) }) else {
            return parse(path: path, includedBy: node)
        }
        switch files.glob(path) {
        case .failure(let failure):
            report(node.position, directive: "include", "cannot list \"\(path)\": \(failure.reason)")
            return []
        case .success(let paths):
            return paths.flatMap { parse(path: $0, includedBy: node) }
        }
    }

    private mutating func report(_ position: SourcePosition?, directive: String = "", _ message: String) {
        diagnostics.append(ConfigDiagnostic(position: position, directive: directive, message: message))
    }
}

/// A block whose `}` is yet to come.
private struct OpenBlock {
    let name: Word?
    /// Whether its name is the first word of a line, so that its column means something.
    let startsLine: Bool
    let opened: SourcePosition
    /// Its end was missed, and it was said.
    private(set) var isTold = false

    init(name: Word?, startsLine: Bool, opened: SourcePosition) {
        self.name = name
        self.startsLine = startsLine
        self.opened = opened
    }

    var told: OpenBlock {
        var result = self
        result.isTold = true
        return result
    }

    func isDoubtful(endedAt end: SourcePosition) -> Bool {
        guard startsLine, let name, end.line > opened.line else { return false }
        return end.column < name.position.column
    }

    /// `"server" opened at line 2`
    var description: String {
        (name.map { "\"\($0.text)\"" } ?? "the block") + " opened at line \(opened.line)"
    }
}
