@testable import LuaHooks
