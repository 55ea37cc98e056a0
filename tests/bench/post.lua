-- SPDX-License-Identifier: MIT
-- wrk: POST with a body of as many bytes as the argument says.
init = function(args)
   wrk.method = "POST"
   wrk.body = string.rep("x", tonumber(args[1]))
   wrk.once = wrk.format()
end

request = function()
   return wrk.once
end
