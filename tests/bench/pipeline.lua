-- SPDX-License-Identifier: MIT
-- wrk: sixteen requests in one write. wrk counts the answers one by one.
init = function(args)
   local one = wrk.format()
   local all = {}
   for i = 1, 16 do
      all[i] = one
   end
   wrk.pipelined = table.concat(all)
end

request = function()
   return wrk.pipelined
end
